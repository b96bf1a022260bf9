"""The command ``stylefarm``, a file a group of commands."""
