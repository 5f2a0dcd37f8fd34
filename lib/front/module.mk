$(call library,front.c parent.c certs.c template.c again.c isolated.c login.c inetd.c listen.c limit.c reg.c handover.c)
$(call unittest,test_handover,test_handover.c,front map ipc io os conf log base test)
$(call unittest,test_again,test_again.c,front map ipc io os conf log base test)
# For t/front; not installed.
$(call tool,front-echo,test_front.c,front map ipc io os conf log base)
$(call fuzzer,fuzz_handover,fuzz_handover.c,front map ipc io os conf log base)
