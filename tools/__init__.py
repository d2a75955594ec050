"""Programs for developers of traffic-governor."""
