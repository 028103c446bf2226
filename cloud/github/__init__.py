"""GitHub, by its REST API: runners and the jobs that they do, and the releases of a repository."""
