"""Jobs: work of minutes that is queued, watched, cancelled and resumed. No HTTP, no settings.

`job` has the snapshot of a job, `engine` what can be done with jobs, and `errors` what can go
wrong. Users of jobs need only these three. The two engines are in `embedded` and `cluster`;
`execution` has what both need of the service.
"""
