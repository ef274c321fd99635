"""Jobs on several machines: one Redis, one storage, as many workers as there is work for.

What counts is the ledger in Redis, which says who computes which piece and what is done; a
message by Celery only says that a worker should look into it. So a message that is lost or
comes twice changes nothing, and a worker that dies is missed within seconds.
"""
