"""Jobs: work of minutes that is queued, watched, cancelled, resumed. No HTTP, no settings.

`job` says what is known of one, `engine` what can be done with them, `errors` what can be
wrong. Whoever serves jobs needs no more than these three.
"""
