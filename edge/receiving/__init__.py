"""The device's end of a push over SSH: receive a bundle, check it, and activate it on trial until it is confirmed."""
