"""Where beliefs are kept: `redis` for sessions of durability `group`, `memory` for those of `none`."""

SHARED = ("base", "behind", "choice", "durability", "embedded", "evictions", "keeper", "kept", "replies", "replication")
