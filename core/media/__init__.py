"""Media that jobs and the command line upscale: pictures, archives and clips, and their files."""
