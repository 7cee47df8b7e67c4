-- Whether a room can be joined.
return {room and 'yes' or 'no'}
