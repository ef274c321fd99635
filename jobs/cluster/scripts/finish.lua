-- Record that a segment is computed and stored, by whichever worker. The first file counts.
-- ARGV: index of the segment, name of the file, its bytes, frames.
-- Returns two flags: 1 if the file counts, and 1 if a message must be sent.
local index, name, size, frames = unpack(ARGV)

if not is_active() or redis.call("HSETNX", job_key("parts"), index, name) == 0 then
  return {0, 0}
end
drop_lease(index)
redis.call("ZREM", job_key("todo"), index)
redis.call("LREM", shared_key("work"), 1, work_entry(index))
redis.call("HINCRBY", shared_key("bytes"), id, size)
set_frames(index, tonumber(frames))
if redis.call("HLEN", job_key("parts")) == number("pieces") then  -- only the joining is left
  redis.call("ZADD", job_key("todo"), get("pieces"), get("pieces"))
  redis.call("RPUSH", shared_key("work"), work_entry(get("pieces")))
end
return {1, needs_message()}
