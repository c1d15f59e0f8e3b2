"""The scanner's web page and HTTP API, with access control."""
