"""Label sources, one a file; a big one may be a package. `README.md` tells how to add one."""
