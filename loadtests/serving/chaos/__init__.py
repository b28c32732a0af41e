"""a fault done to a server under load → typed errors meanwhile, right answers soon, none wrong."""
