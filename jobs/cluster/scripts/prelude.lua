-- What all scripts share. KEYS[1] is the hash of the job; ARGV begins with the prefix of all
-- keys and the id of the job. Time is that of Redis, in seconds: clocks of machines differ.

local job, prefix, id = KEYS[1], table.remove(ARGV, 1), table.remove(ARGV, 1)

local function all(name) return prefix .. ":" .. name end
local function part(name) return job .. ":" .. name end
local function get(field) return redis.call("HGET", job, field) end
local function number(field) return tonumber(get(field) or 0) end

local function now()
  local time = redis.call("TIME")
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function precise(seconds) return string.format("%.6f", seconds) end

local function change(...)
  redis.call("HSET", job, ...)
  redis.call("HINCRBY", job, "version", 1)
end

local function is_active()
  local state = get("state")
  return state == "queued" or state == "running"
end

-- The piece that is next: one whose worker was not heard of for too long, or a fresh one.
local function next_piece()
  local left = redis.call("ZRANGEBYSCORE", part("leases"), "-inf", now(), "LIMIT", 0, 1)
  return left[1] or redis.call("ZRANGE", part("todo"), 0, 0)[1]
end

-- Whether a message must be sent, so that a worker comes and asks. At most one is under way.
local function needs_message()
  if get("told") or not next_piece() then return 0 end
  redis.call("HSET", job, "told", 1)
  return 1
end

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

-- How many frames of a piece are done. It may become less: then somebody begins it again.
local function set_frames(index, frames)
  local before = tonumber(redis.call("HGET", part("frames"), index) or 0)
  if frames ~= before then
    redis.call("HSET", part("frames"), index, frames)
    change("frames_done", number("frames_done") + frames - before)
    measure_rate(number("frames_done"))
  end
end

local function drop_lease(index)
  redis.call("ZREM", part("leases"), index)
  redis.call("HDEL", part("holders"), index)
end

-- `work` names every piece that is not done: its length says how many workers are worth while.
local function work_entry(index) return id .. "/" .. index end

local function add_work()
  for index = 0, number("pieces") - 1 do
    redis.call("ZADD", part("todo"), index, index)
    redis.call("RPUSH", all("work"), work_entry(index))
  end
end

local function drop_work()
  for _, name in ipairs({"todo", "leases"}) do
    for _, index in ipairs(redis.call("ZRANGE", part(name), 0, -1)) do
      redis.call("LREM", all("work"), 1, work_entry(index))
    end
  end
  for _, name in ipairs({"todo", "leases", "holders", "tries", "frames", "parts"}) do
    redis.call("DEL", part(name))
  end
end

-- The end of a job: nobody works on it any more, and its time runs.
local function conclude(state, keep_s, ...)
  local time = now()
  drop_work()
  redis.call("ZREM", all("active"), id)
  redis.call("ZREM", all("waiting"), id)
  redis.call("ZADD", all("rubbish"), precise(time + keep_s), id)
  redis.call("HDEL", job, "told")
  change(
    "state", state, "finished", precise(time), "expires", precise(time + keep_s), ...)
end

local function forget(delay_s)
  local key = get("key")
  if key then redis.call("DEL", all("key:" .. key)) end
  redis.call("DEL", job)
  redis.call("ZREM", all("jobs"), id)
  redis.call("HDEL", all("bytes"), id)
  redis.call("ZADD", all("rubbish"), precise(now() + delay_s), id)
end
