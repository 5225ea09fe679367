"""`muster-queue api`: the process that takes jobs over HTTP."""
