-- Create a job, unless its key is known or there is no space.
-- ARGV: key, fingerprint, limit of queued jobs, limit of bytes of all files, bytes of this file,
-- number of segments, then the fields of the job.
-- Returns {"new"}, {"known", id, fingerprint}, {"many"} or {"full", bytes taken}.
local key, fingerprint = ARGV[1], ARGV[2]
local max_waiting, budget, size, pieces = unpack(ARGV, 3, 6)

if redis.call("EXISTS", job) == 1 then return {"new"} end  -- a retry, because the answer was lost
if key ~= "" then
  local known = redis.call("GET", shared_key("key:" .. key))
  if known then
    return {"known", known, redis.call("HGET", shared_key("job:" .. known), "fingerprint")}
  end
end
if redis.call("ZCARD", shared_key("waiting")) >= tonumber(max_waiting) then return {"many"} end
local taken = 0
for _, bytes in ipairs(redis.call("HVALS", shared_key("bytes"))) do
  taken = taken + tonumber(bytes)
end
if taken + tonumber(size) > tonumber(budget) then return {"full", tostring(taken)} end

local time = precise(now())
redis.call("HSET", job, "state", "queued", "version", 1, "frames_done", 0, "created", time)
redis.call("HSET", job, "pieces", pieces, "fingerprint", fingerprint, unpack(ARGV, 7))
add_work()
if key ~= "" then
  redis.call("HSET", job, "key", key)
  redis.call("SET", shared_key("key:" .. key), id)
end
for _, name in ipairs({"jobs", "active", "waiting"}) do
  redis.call("ZADD", shared_key(name), time, id)
end
redis.call("HSET", shared_key("bytes"), id, size)
redis.call("ZREM", shared_key("rubbish"), id)
return {"new"}
