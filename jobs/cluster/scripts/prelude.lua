-- Functions that all scripts share; this file is put in front of each of them.
-- KEYS[1] is the hash of the job. ARGV begins with the prefix of all keys and the id of the job.
-- Times are seconds on the clock of Redis, because the clocks of machines differ.
--
-- Keys of a job: the hash of its fields, and beside it
--   :todo     sorted set of the pieces that no worker has begun
--   :leases   sorted set of the pieces under way, by the time at which each lease ends
--   :holders  hash of the identifiers of the claims, by piece
--   :tries    hash of the numbers of attempts, by piece
--   :frames   hash of the frames done, by piece
--   :parts    hash of the file names of finished segments, by piece
-- The field `notified` is set while a message for the job is under way.
--
-- Keys shared by all jobs, after the prefix:
--   jobs        sorted set of all jobs, by the time of their creation
--   active      sorted set of the queued and the running jobs, by the time of their creation
--   waiting     sorted set of the queued jobs, by the time of their creation
--   rubbish     sorted set of the jobs whose files will be deleted, by the time of that
--   bytes       hash of the sizes of files, by job
--   work        list of all pieces that are not done, of all jobs
--   key:KEY     id of the job with an idempotency key
--   reading:ID  sorted set of the readers of a result, by the time at which each must be done
--   turn:NAME   exists while a turn of one process lasts
--   storage     identity of the storage that all machines must have

local job, prefix, id = KEYS[1], table.remove(ARGV, 1), table.remove(ARGV, 1)

local function shared_key(name) return prefix .. ":" .. name end
local function job_key(name) return job .. ":" .. name end
local function get(field) return redis.call("HGET", job, field) end
local function number(field) return tonumber(get(field) or 0) end

local function now()
  local time = redis.call("TIME")
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function precise(seconds) return string.format("%.6f", seconds) end

-- Set fields of the job, and raise its version.
local function change(...)
  redis.call("HSET", job, ...)
  redis.call("HINCRBY", job, "version", 1)
end

local function is_active()
  local state = get("state")
  return state == "queued" or state == "running"
end

-- The next piece to compute: one whose lease has ended, or else one that was not begun.
local function next_piece()
  local expired = redis.call("ZRANGEBYSCORE", job_key("leases"), "-inf", now(), "LIMIT", 0, 1)
  return expired[1] or redis.call("ZRANGE", job_key("todo"), 0, 0)[1]
end

-- 1 if a message must be sent, so that a worker asks for work. At most one is under way.
local function needs_message()
  if get("notified") or not next_piece() then return 0 end
  redis.call("HSET", job, "notified", 1)
  return 1
end

-- Update the frames a second, at most once a second, as the mean of the old and the new rate.
local function measure_rate(done)
  local time, since = now(), number("measured")
  if done < number("measured_frames") then
    redis.call("HSET", job, "measured", precise(time), "measured_frames", done)
  elseif time - since >= 1 then
    local rate = (done - number("measured_frames")) / (time - since)
    local before = get("rate")
    if before then rate = (tonumber(before) + rate) / 2 end
    redis.call(
      "HSET", job, "rate", precise(rate), "measured", precise(time), "measured_frames", done)
  end
end

-- Record the frames done of a piece. The number falls when a worker begins the piece again.
local function set_frames(index, frames)
  local before = tonumber(redis.call("HGET", job_key("frames"), index) or 0)
  if frames ~= before then
    redis.call("HSET", job_key("frames"), index, frames)
    change("frames_done", number("frames_done") + frames - before)
    measure_rate(number("frames_done"))
  end
end

local function drop_lease(index)
  redis.call("ZREM", job_key("leases"), index)
  redis.call("HDEL", job_key("holders"), index)
end

-- The list `work` names every piece that is not done. Its length tells an autoscaler how many
-- workers are needed.
local function work_entry(index) return id .. "/" .. index end

local function add_work()
  for index = 0, number("pieces") - 1 do
    redis.call("ZADD", job_key("todo"), index, index)
    redis.call("RPUSH", shared_key("work"), work_entry(index))
  end
end

-- Forget all pieces of the job, also those that are done.
local function drop_work()
  for _, name in ipairs({"todo", "leases"}) do
    for _, index in ipairs(redis.call("ZRANGE", job_key(name), 0, -1)) do
      redis.call("LREM", shared_key("work"), 1, work_entry(index))
    end
  end
  for _, name in ipairs({"todo", "leases", "holders", "tries", "frames", "parts"}) do
    redis.call("DEL", job_key(name))
  end
end

-- End the job: nobody computes it any more, and it expires after `expiry_s` seconds.
local function conclude(state, expiry_s, ...)
  local time = now()
  drop_work()
  redis.call("ZREM", shared_key("active"), id)
  redis.call("ZREM", shared_key("waiting"), id)
  redis.call("ZADD", shared_key("rubbish"), precise(time + expiry_s), id)
  redis.call("HDEL", job, "notified")
  change(
    "state", state, "finished", precise(time), "expires", precise(time + expiry_s), ...)
end

-- Delete all that is known of the job; its files are deleted after `delay_s` seconds.
local function forget(delay_s)
  local key = get("key")
  if key then redis.call("DEL", shared_key("key:" .. key)) end
  redis.call("DEL", job)
  redis.call("ZREM", shared_key("jobs"), id)
  redis.call("HDEL", shared_key("bytes"), id)
  redis.call("ZADD", shared_key("rubbish"), precise(now() + delay_s), id)
end
