"""Where addresses of a spec lie: volumes of this machine, object stores, the Hub; and what their refusals mean."""
