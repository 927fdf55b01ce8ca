"""Where videos go: the folder on this machine, and a real S3 server."""
