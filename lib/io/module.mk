$(call library,loop.c line.c conn.c conn_out.c relay.c)
$(call unittest,test_loop,test_loop.c,io base test)
$(call unittest,test_line,test_line.c,io base test)
$(call fuzzer,fuzz_line,fuzz_line.c,io base)
