"""What runs in a job's pods: training, inference and simulation for real; talks to its peers, to no service of ours."""
