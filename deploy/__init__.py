"""how the service is deployed, one folder for each way."""
