"""Ground floor: files, paths, the limits of this machine, and Ray clusters. Knows nothing of networks or images."""
