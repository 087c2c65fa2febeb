"""Files, locks, HTTP, text, limits of this machine, Ray clusters: everything that knows neither networks nor images."""
