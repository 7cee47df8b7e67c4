"""A bot for a room: says again what others say, sends files back, and answers commands.

    python docs/examples/echo_bot.py 'https://relay.example/#k=KEY&roomId=ROOM'

It joins by the link that any client shows, and leaves on !bye, on Ctrl-C, or when its seat is lost.
"""

import hashlib
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from twisted_relay.client import (
    ClientError,
    Conversation,
    Ended,
    FileReceived,
    Gap,
    Happening,
    Invite,
    RoomCipher,
    Said,
)

HELP = "I echo. !help says this, !count tells how many we are, !bye sends me away."
ECHO = "echo: "


class EchoBot:
    """One bot in one room."""

    def __init__(self, reactor: Any, invite: Invite, relay_url: str) -> None:
        self._invite = invite
        self._sent_back: set[bytes] = set()  # digests of files
        self._talk = Conversation(
            relay_url, reactor=reactor, cipher=RoomCipher(invite.key), name="echo"
        )
        # Ctrl-C and SIGTERM: give the seat up before the reactor stops.
        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: Deferred.fromCoroutine(self._talk.leave())
        )

    async def run(self) -> None:
        """Join, and answer until the conversation is over. Raises ClientError."""
        events = self._talk.events()  # from before the join on, so that nothing is missed
        token = self._invite.token
        await self._talk.join(self._invite.room_id, token, single_use=token is not None)
        async for event in events:
            await self._react(event)

    async def _react(self, event: Happening) -> None:
        match event:
            case Said(own=False, text="!help"):
                await self._talk.say(HELP)
            case Said(own=False, text="!count"):
                await self._talk.say(f"we are {self._talk.participants}, me included")
            case Said(own=False, text="!bye"):
                await self._talk.say("bye")
                await self._talk.leave()
            case Said(own=False, text=text) if not text.startswith(ECHO):  # nor another bot's
                await self._talk.say(ECHO + text)
            case FileReceived() as file:
                await self._send_back(file)
            case Gap():
                await self._talk.say("I may have missed something")
            case Ended(reason=reason):
                print(f"it is over: {reason}")

    async def _send_back(self, file: FileReceived) -> None:
        """Each content once, or two bots would send it to each other for ever."""
        digest = hashlib.sha256(file.content).digest()
        if digest not in self._sent_back:
            self._sent_back.add(digest)
            await self._talk.send_file(file.name, file.content, file.mime)


async def main(reactor: Any, *arguments: str) -> None:
    """Run the bot; what goes wrong is one line and exit code 1."""
    try:
        (link,) = arguments
        invite = Invite.parse(link)
        if invite.relay_url is None:
            raise ValueError
        await EchoBot(reactor, invite, invite.relay_url).run()
    except ValueError:
        sys.exit("usage: echo_bot.py LINK")
    except ClientError as fault:
        sys.exit(f"echo_bot: {fault}")


if __name__ == "__main__":
    react(main, sys.argv[1:])
