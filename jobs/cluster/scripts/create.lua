-- Enter a job, unless its key is known or there is no room.
-- ARGV: key, fingerprint, jobs that may wait, bytes of all files, bytes of this file, pieces,
-- then the fields of the job.
local key, fingerprint = ARGV[1], ARGV[2]
local most_waiting, budget, size, pieces = unpack(ARGV, 3, 6)

if redis.call("EXISTS", job) == 1 then return {"new"} end  -- asked again: the answer was lost
if key ~= "" then
  local known = redis.call("GET", all("key:" .. key))
  if known then
    return {"known", known, redis.call("HGET", all("job:" .. known), "fingerprint")}
  end
end
if redis.call("ZCARD", all("waiting")) >= tonumber(most_waiting) then return {"many"} end
local taken = 0
for _, bytes in ipairs(redis.call("HVALS", all("bytes"))) do taken = taken + tonumber(bytes) end
if taken + tonumber(size) > tonumber(budget) then return {"full", tostring(taken)} end

local time = precise(now())
redis.call("HSET", job, "state", "queued", "version", 1, "frames_done", 0, "created", time)
redis.call("HSET", job, "pieces", pieces, "fingerprint", fingerprint, unpack(ARGV, 7))
add_work()
if key ~= "" then
  redis.call("HSET", job, "key", key)
  redis.call("SET", all("key:" .. key), id)
end
for _, name in ipairs({"jobs", "active", "waiting"}) do redis.call("ZADD", all(name), time, id) end
redis.call("HSET", all("bytes"), id, size)
redis.call("ZREM", all("rubbish"), id)
return {"new"}
