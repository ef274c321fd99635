-- Forget a job whose time is over; nothing if it is gone already.
if get("expires") and number("expires") <= now() then forget(0) end
