"""`python -m muster_local` is the command `muster`."""

from muster_local.app import main

main()
