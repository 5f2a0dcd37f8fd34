$(call library,err.c str.c format.c arena.c buf.c num.c radix.c clock.c ids.c map.c enc.c json.c sha256.c rate.c near.c)
$(call unittest,test_text,test_text.c,base test)
$(call unittest,test_rate,test_rate.c,base test)
$(call unittest,test_base,test_base.c,test base)
