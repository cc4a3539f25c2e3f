"""What the environment says of this machine: the user's folders, proxies and TLS."""
