"""The commands of ``stylefarm``, by what they are about."""
