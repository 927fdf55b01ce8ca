"""Where everything is kept. ``base`` is the seam; each store passes the same contract suite."""
