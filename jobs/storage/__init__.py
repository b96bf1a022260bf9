"""Where results go: whole objects under keys, in a folder or on S3."""
