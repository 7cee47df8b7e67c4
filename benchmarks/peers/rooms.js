// Who may be in which room: in this process, or in Redis when REDIS_URL is set. Redis is asked once
// for a creation, a join and a leave, each in one script or transaction, and never for a message.
import { Redis } from "ioredis";
import { limits, Refusal } from "./rules.js";

class LocalRooms {
  counts = new Map();
  spent = new Map();

  async create(roomId) {
    this.counts.set(roomId, 1);
  }

  async join(roomId, claims) {
    const count = this.counts.get(roomId);
    if (this.spent.has(claims.jti)) throw new Refusal("ERR_TOKEN_REPLAY", true);
    if (count === undefined) throw new Refusal("ERR_NO_ROOM");
    if (count >= limits.roomMax) throw new Refusal("ERR_ROOM_FULL", true);
    this.spent.set(claims.jti, claims.exp + 5000);
    this.counts.set(roomId, count + 1);
    return count + 1;
  }

  async leave(roomId) {
    const count = this.counts.get(roomId) - 1;
    if (count > 0) this.counts.set(roomId, count);
    else this.counts.delete(roomId);
    return count;
  }
}

const JOIN = `
if redis.call("EXISTS", KEYS[2]) == 1 then return -1 end
local count = tonumber(redis.call("HGET", KEYS[1], "count"))
if not count then return -2 end
if count >= tonumber(ARGV[1]) then return -3 end
redis.call("SET", KEYS[2], "1", "PX", ARGV[2])
redis.call("PEXPIRE", KEYS[1], ARGV[3])
return redis.call("HINCRBY", KEYS[1], "count", 1)`;

const LEAVE = `
local count = redis.call("HINCRBY", KEYS[1], "count", -1)
if count <= 0 then redis.call("DEL", KEYS[1]) end
return count`;

class RedisRooms {
  constructor(url) {
    this.redis = new Redis(url);
    this.redis.defineCommand("joinRoom", { numberOfKeys: 2, lua: JOIN });
    this.redis.defineCommand("leaveRoom", { numberOfKeys: 1, lua: LEAVE });
  }

  async create(roomId) {
    const key = `room:{${roomId}}`;
    await this.redis.multi().hset(key, "count", 1).pexpire(key, limits.roomTtlMs).exec();
  }

  async join(roomId, claims) {
    const count = await this.redis.joinRoom(
      `room:{${roomId}}`,
      `jti:{${roomId}}:${claims.jti}`,
      limits.roomMax,
      claims.exp - Date.now() + 5000,
      limits.roomTtlMs,
    );
    if (count === -1) throw new Refusal("ERR_TOKEN_REPLAY", true);
    if (count === -2) throw new Refusal("ERR_NO_ROOM");
    if (count === -3) throw new Refusal("ERR_ROOM_FULL", true);
    return count;
  }

  leave(roomId) {
    return this.redis.leaveRoom(`room:{${roomId}}`);
  }
}

export const rooms = process.env.REDIS_URL
  ? new RedisRooms(process.env.REDIS_URL)
  : new LocalRooms();
