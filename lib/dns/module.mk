$(call library,wire.c client.c)
$(call unittest,test_wire,test_wire.c,dns base test)
$(call unittest,test_client,test_client.c,dns ipc io os log base test)
$(call fuzzer,fuzz_dns,fuzz_dns.c,dns base)
