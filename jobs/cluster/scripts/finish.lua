-- A segment is computed and stored, no matter by whom: the first file counts.
-- ARGV: index, name of the file, its bytes, frames.
-- Returns whether it counts, and whether a message must be sent.
local index, name, size, frames = unpack(ARGV)

if not is_active() or redis.call("HSETNX", part("parts"), index, name) == 0 then return {0, 0} end
drop_lease(index)
redis.call("ZREM", part("todo"), index)
redis.call("LREM", all("work"), 1, work_entry(index))
redis.call("HINCRBY", all("bytes"), id, size)
set_frames(index, tonumber(frames))
if redis.call("HLEN", part("parts")) == number("pieces") then  -- what is left is to join them
  redis.call("ZADD", part("todo"), get("pieces"), get("pieces"))
  redis.call("RPUSH", all("work"), work_entry(get("pieces")))
end
return {1, needs_message()}
