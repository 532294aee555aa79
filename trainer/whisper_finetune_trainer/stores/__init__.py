"""Where addresses of a spec lie: volumes of this machine, object stores, the Hub. And what their refusals mean."""
