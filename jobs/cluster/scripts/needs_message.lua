-- Decide whether a message must be sent for the job, and record that it is sent.
-- ARGV: 1 if the queue of messages is empty, so that none can be under way.
-- Returns 1 or 0.
if not is_active() then return 0 end
if ARGV[1] == "1" then redis.call("HDEL", job, "notified") end
return needs_message()
