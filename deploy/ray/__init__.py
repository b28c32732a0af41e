"""the service's doors and engine → replicas of Ray Serve on a cluster."""
