"""The files that jobs and the command line work on: pictures, archives, clips."""
