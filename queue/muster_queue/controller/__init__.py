"""The controller role: one leader plans gangs, releases them, follows them up and says why they wait; binds nothing."""
