"""Where beliefs are kept: `redis` for sessions of durability `group`, `memory` for those of `none`."""
