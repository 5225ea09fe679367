"""One Lua file for each operation; its head says what it is given and what it returns."""
