"""Bodies of requests and answers, where a client's are kept: taken, read, checked and erased."""
