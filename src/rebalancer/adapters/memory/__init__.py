"""Every port in memory: the tests' fakes, and honest ones. The contract suites hold them too."""
