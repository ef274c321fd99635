"""Jobs on several machines: one Redis, one storage, and as many workers as there is work for.

The ledger in Redis is the truth: it says who computes which piece of a job, and what is done. A
Celery message only asks a worker to look at a job. So a message that is lost or comes twice does
no harm, and a worker that dies is noticed within seconds.
"""
