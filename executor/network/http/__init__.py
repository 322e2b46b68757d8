"""
HTTP/1.1 in the network broker: read strictly, judged, written anew, and searched for secrets.
"""
