import json
import urllib.request

API = "https://localhost:8443"


def get(path):
    with urllib.request.urlopen(API + path, timeout=20) as response:
        return json.load(response)


prices = {metal: get(f"/v1/prices/{metal}")["price"] for metal in ("copper", "zinc", "tin")}
prices
