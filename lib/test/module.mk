$(call library,tap.c fuzz_session.c fuzz_login.c)
$(call unittest,test_tap,test_tap.c,base test)
