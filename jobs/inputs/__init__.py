"""Where pictures come from: files, S3 and the web."""
