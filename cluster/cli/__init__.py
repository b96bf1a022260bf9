"""The command ``stylefarm``, one module per group of commands."""
